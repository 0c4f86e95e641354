// Import directions of docs/architecture.md.
const forbid = (name, from, to, comment) => ({ name, severity: "error", comment, from: { path: from }, to: { path: to } });
const pure = "^(daemon|providers|stacks)/.*/(plan[^/]*|parse[^/]*|commands|[^/]*-commands|diff[^/]*|fsm[^/]*|logic|routes|placement|delete-guard)\\.ts$";
module.exports = {
  forbidden: [
    { name: "no-circular", severity: "error", from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    forbid("daemon-stands-alone", "^daemon/", "^(providers|stacks|cli|test)/", "the daemon needs no provider, stack or command line"),
    { name: "daemon-no-pulumi", severity: "error", from: { path: "^daemon/" }, to: { path: "node_modules/(@pulumi|ssh2)/" } },
    forbid("lib-is-the-base", "^daemon/lib/", "^(daemon/(?!lib/)|providers|stacks|cli|templates)", "daemon/lib imports only itself"),
    forbid("resources-are-light", "^providers/resources/", "^(providers/(handlers|ssh|lab)|daemon/(?!lib/)|cli|stacks)/", "a program must load without handlers"),
    forbid("schemas-are-the-base", "^providers/schemas/", "^(providers/(?!schemas/)|stacks|cli|daemon/(?!lib/))", "schemas import only daemon/lib"),
    forbid("handlers-know-no-stack", "^providers/", "^(stacks|cli|test)/", "providers know no stack"),
    forbid("handlers-daemon-parts", "^providers/(handlers|ssh|core)/", "^daemon/(?!lib/|zfs/|platform/)", "handlers use daemon/{lib,zfs,platform} only"),
    forbid("lab-is-plain", "^providers/lab/", "^(providers/(handlers|resources|ssh)|stacks|cli)/", "the lab knows no Pulumi"),
    { name: "pure-files", severity: "error", comment: "plans are pure (DESIGN invariant 9)", from: { path: pure }, to: { path: "^(node:)?(fs|fs/promises|net|http|https|tls|child_process|dgram|dns|os)$" } },
    { name: "not-to-test", severity: "error", from: { pathNot: "^test/" }, to: { path: "^test/" } },
  ],
  options: { doNotFollow: { path: "node_modules" }, tsPreCompilationDeps: true, tsConfig: { fileName: "tsconfig.json" }, enhancedResolveOptions: { extensions: [".ts", ".js", ".json"] } },
};
