import { HcError } from "../daemon/lib/errors.js";
import { quote } from "../daemon/lib/quote.js";

/** Escaping for each syntax that a template of ours writes. Each throws INVALID_INPUT for what its syntax cannot hold; property tests in test/unit/templates. */

function refuse(what: string, text: string): never {
  throw new HcError("INVALID_INPUT", `${JSON.stringify(text.slice(0, 80))} cannot be written into ${what}: it holds a control character.`);
}
const control = /[\u0000-\u001f\u007f]/;

/** One word of a POSIX shell line (sh(1), "Quoting"). */
export function shellWord(value: unknown): string {
  const text = String(value);
  if (text.includes("\0")) refuse("a shell line", text);
  return quote(text);
}

/** One argument of ExecStart= and the like (systemd.service(5) "Command lines"): quoting, %-specifiers and $-variables. */
export function systemdArgument(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("a systemd unit", text);
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/%/g, "%%").replace(/\$/g, "$$$$")}"`;
}

/** A quoted word of other settings of a unit (systemd.syntax(7)): specifiers, but no $-variables. */
export function systemdWord(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("a systemd unit", text);
  return `"${text.replace(/[\\"]/g, "\\$&").replace(/%/g, "%%")}"`;
}

/** Free text that ends with its line, such as Description=. */
export function systemdText(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("a systemd unit", text);
  return text.replace(/\\/g, "\\\\").replace(/%/g, "%%");
}

/** A quoted argument of an Apache directive ("Configuration Files"): `\` and `"` are escaped; `${…}` would name a Define, so it is refused. */
export function apacheArgument(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("an Apache configuration", text);
  if (text.includes("${")) throw new HcError("INVALID_INPUT", `${JSON.stringify(text.slice(0, 80))} cannot be written into an Apache configuration: "\${" would be replaced by Apache.`);
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

/** A quoted value of php-fpm's configuration: its ini scanner knows no escape that is safe in every version, and expands `${…}` and a `$pool`. */
export function fpmValue(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("a php-fpm pool", text);
  if (/["\\$]/.test(text)) throw new HcError("INVALID_INPUT", `${JSON.stringify(text.slice(0, 80))} cannot be written into a php-fpm pool: it holds one of " \\ $.`);
  return `"${text}"`;
}

/** A PHP string literal in single quotes ("Strings"). */
export function phpString(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("PHP code", text);
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

/** A field of DokuWiki's users.auth.php: fields end at ":", comments begin at "#". */
export function dokuwikiField(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("users.auth.php", text);
  return text.replace(/[\\:#]/g, "\\$&");
}

/** Text for people, one line, in a syntax without escapes. */
export function plainText(value: unknown): string {
  const text = String(value);
  if (control.test(text)) refuse("a text", text);
  return text;
}
