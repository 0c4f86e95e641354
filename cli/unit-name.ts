/** "wiki" → "site-wiki"; ids of units stay as they are. */
export const unitId = (name: string): string => (/^(site|db|mail|jail)-/.test(name) ? name : `site-${name}`);
