/** All that is needed to run a site on a node, taken from its document, its customer's record and the node's settings. */
export interface SiteRun {
  unit: string;
  name: string;
  /** Mount point of the unit's dataset, e.g. /hc/site-wiki. */
  root: string;
  user: string;
  uid: number;
  gid: number;
  hostnames: readonly string[];
  limits: { memory: string; cpu: number; tasks: number };
  php: Readonly<Record<string, string>>;
  ready: { path: string; status: number };
  /** Shown to the site as environment: HC_NODE, HC_EPOCH, HC_UNIT. */
  node: string;
  epoch: number;
  /** The cluster's proxies answer for it by HTTPS too. */
  secured?: boolean;
}

/**
 * Services of sites on one node ("Yakd"). Every call is idempotent and can be repeated after a crash.
 * Apache knows all sites of which the node holds a copy (home or replica), so that a change of home needs no reload.
 */
export interface SiteServices {
  /** Our Apache and its base configuration exist and run. */
  ensureBase(): Promise<void>;
  /** Does our Apache answer? */
  baseAnswers?(): Promise<boolean>;
  /** Starts our Apache anew, hanging or not, and waits for its first answer. */
  repairBase?(): Promise<void>;
  /** Users, FPM pool files, virtual hosts for exactly these sites; renders, validates, swaps in atomically, reloads once. CONFIG_REFUSED leaves the old one in force. */
  configure(sites: readonly SiteRun[]): Promise<{ changed: boolean }>;
  /** Starts the FlexContainer of a site whose dataset is mounted. `stillHere` rejects when it is not; `closing`: one that runs is about to be replaced. */
  start(site: SiteRun, stillHere?: () => Promise<void>, closing?: () => Promise<void>): Promise<void>;
  /** Stops it; afterwards no process holds the dataset. */
  stop(unit: string): Promise<void>;
  /** Unit ids whose container runs, and those that failed. */
  states(): Promise<Map<string, "active" | "failed" | "inactive">>;
  /** One request through Apache on loopback. `ok` follows ready.status (0: any answer below 500). */
  check(site: SiteRun): Promise<{ ok: boolean; status: number; detail: string }>;
  /** Last lines of the site's PHP and web errors. */
  logs(unit: string, lines: number): Promise<string>;
}
