import type { Failure } from "../lib/schema.js";

/**
 * Settings of PHP that a site may have (`Site.php`), each with the values it takes. Everything else is refused: not because it would open the
 * container (chroot, user and limits hold without PHP), but because it would break what hcd sets itself, or mean nothing.
 */
const size = /^(?:-1|\d{1,9}[KMG]?)$/i;
const number = /^-?\d{1,9}$/;
const flag = /^(?:0|1|on|off|yes|no|true|false)$/i;
const text = /^[A-Za-z0-9 _.,:;&~^|()!/+@=*?-]{0,512}$/;

export const phpSettings: Readonly<Record<string, RegExp>> = {
  allow_url_fopen: flag, "arg_separator.output": text, auto_detect_line_endings: flag, "date.timezone": /^[A-Za-z0-9_+/-]{1,64}$/,
  default_charset: /^[A-Za-z0-9_-]{0,32}$/, default_mimetype: /^[a-z0-9.+/-]{0,64}$/, default_socket_timeout: number, disable_functions: /^[A-Za-z0-9_, ]{0,1024}$/,
  display_errors: flag, display_startup_errors: flag, error_reporting: /^[A-Z0-9_ &~^|()-]{1,128}$/, expose_php: flag, file_uploads: flag, html_errors: flag,
  ignore_repeated_errors: flag, implicit_flush: flag, "intl.default_locale": /^[A-Za-z_-]{0,32}$/, log_errors: flag, log_errors_max_len: number, "mail.add_x_header": flag,
  max_execution_time: number, max_file_uploads: number, max_input_nesting_level: number, max_input_time: number, max_input_vars: number,
  "mbstring.language": /^[A-Za-z-]{0,32}$/, memory_limit: size, "opcache.enable": flag, "opcache.max_accelerated_files": number, "opcache.memory_consumption": /^\d{1,4}$/,
  "opcache.revalidate_freq": number, "opcache.validate_timestamps": flag, output_buffering: /^(?:on|off|\d{1,9})$/i, "pcre.backtrack_limit": number, "pcre.jit": flag, "pcre.recursion_limit": number,
  post_max_size: size, precision: number, realpath_cache_size: size, realpath_cache_ttl: number, request_order: /^[GPC]{1,3}$/, serialize_precision: number,
  "session.cookie_httponly": flag, "session.cookie_lifetime": number, "session.cookie_samesite": /^(?:Lax|Strict|None)?$/, "session.cookie_secure": flag, "session.gc_maxlifetime": number,
  "session.gc_divisor": number, "session.gc_probability": number, "session.name": /^[A-Za-z][A-Za-z0-9_-]{0,63}$/, "session.use_strict_mode": flag,
  short_open_tag: flag, upload_max_filesize: size, user_agent: text, variables_order: /^[EGPCS]{1,5}$/, "zend.assertions": /^(?:-1|0|1)$/, "zlib.output_compression": flag,
};

/** Which of the settings cannot be used, and why; property names as in `Site`. Pure, no I/O: also for `check` of the Site resource. */
export function checkPhpSettings(settings: Readonly<Record<string, string>>): Failure[] {
  return Object.entries(settings).flatMap(([name, value]) => {
    const pattern = Object.hasOwn(phpSettings, name) ? phpSettings[name] : undefined;
    if (pattern === undefined) return [{ property: `php.${name}`, reason: `is not a setting of PHP that a site may have; known here: ${Object.keys(phpSettings).join(", ")}` }];
    if (!pattern.test(value)) return [{ property: `php.${name}`, reason: `${JSON.stringify(value.slice(0, 80))} cannot be used; it must match ${pattern.source}` }];
    return [];
  });
}
