import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Handlebars from "handlebars";
import { errorCode, HcError, messageOf } from "../daemon/lib/errors.js";
import { apacheArgument, dokuwikiField, fpmValue, phpString, plainText, shellWord, systemdArgument, systemdText, systemdWord } from "./escape.js";

/** All templates by path, put in by the bundler of hcd (bin/build.js); elsewhere they are read from the package. */
declare const __HC_TEMPLATES__: Record<string, string>;

/** The folder templates/ of the package: this file runs as dist/templates/render.js. */
const folder = (): string => join(__dirname, "..", "..", "templates");

/** The text of a file below templates/, by its path there. */
export function templateText(name: string): string {
  if (typeof __HC_TEMPLATES__ !== "undefined") {
    const text = Object.hasOwn(__HC_TEMPLATES__, name) ? __HC_TEMPLATES__[name] : undefined;
    if (text === undefined) throw new HcError("INTERNAL", `There is no template ${name}.`);
    return text;
  }
  return readFileSync(join(folder(), name), "utf8");
}

/** Paths of all files below templates/ that start with `prefix` (a folder with its slash), sorted. */
export function templateFolder(prefix: string): string[] {
  if (typeof __HC_TEMPLATES__ !== "undefined") return Object.keys(__HC_TEMPLATES__).filter((name) => name.startsWith(prefix)).sort();
  return readdirSync(join(folder(), prefix), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${prefix}${join(entry.parentPath, entry.name).slice(join(folder(), prefix).length)}`)
    .sort();
}

/** An own Handlebars: helpers of others cannot reach in. There is no default escaping: each value names its syntax. */
const handlebars = Handlebars.create();
const helpers = { sh: shellWord, systemdArg: systemdArgument, systemdWord, systemdText, apache: apacheArgument, fpm: fpmValue, php: phpString, dokuwikiField, plainText };
for (const [name, escaping] of Object.entries(helpers))
  handlebars.registerHelper(name, (value: unknown) => {
    if (value === undefined || value === null) throw new HcError("INTERNAL", `A value for {{${name}}} is missing.`);
    return new Handlebars.SafeString(escaping(value));
  });
/** For values whose whole range is known to be harmless (numbers, our own ids). Everything else is refused. */
handlebars.registerHelper("plain", (value: unknown) => {
  const text = String(value);
  if (!/^[A-Za-z0-9_.:,=/@*[\]-]*$/.test(text)) throw new HcError("INVALID_INPUT", `${JSON.stringify(text.slice(0, 80))} needs escaping, but the template says "plain".`);
  return new Handlebars.SafeString(text);
});

// "strict" does not look at what helpers are given
for (const name of ["each", "if"]) {
  const builtIn = handlebars.helpers[name] as (this: unknown, ...values: unknown[]) => unknown;
  handlebars.registerHelper(name, function (this: unknown, ...values: unknown[]) {
    if (values[0] === undefined) throw new HcError("INTERNAL", `A value for {{#${name}}} is missing.`);
    return builtIn.apply(this, values);
  });
}

const compiled = new Map<string, Handlebars.TemplateDelegate>();

/** Renders `templates/<name>` strictly: a value that the data does not hold is an error, never an empty text. */
export function renderTemplate(name: string, data: object): string {
  let template = compiled.get(name);
  if (template === undefined) {
    template = handlebars.compile(templateText(name), { strict: true, knownHelpersOnly: false, preventIndent: true });
    compiled.set(name, template);
  }
  try {
    return template(data, { allowProtoPropertiesByDefault: false });
  } catch (error) {
    throw new HcError(errorCode(error) ?? "INTERNAL", `Template ${name}: ${messageOf(error)}`, { cause: error });
  }
}
