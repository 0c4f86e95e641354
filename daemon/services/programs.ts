import { HcError } from "../lib/errors.js";

/** Where Apache and PHP lie: Debian's packages apache2 and php<version>-fpm, FreeBSD's apache24 and php<version>. */
export interface Programs {
  apache: string;
  rotatelogs: string;
  modules: string;
  mimeTypes: string;
  phpFpm: string;
}
export function programs(platform: "linux" | "freebsd", php: string): Programs {
  if (php === "none") throw new HcError("COMMAND_NOT_FOUND", "php-fpm is not installed on this node.");
  if (platform === "linux")
    return { apache: "/usr/sbin/apache2", rotatelogs: "/usr/bin/rotatelogs", modules: "/usr/lib/apache2/modules", mimeTypes: "/etc/mime.types", phpFpm: `/usr/sbin/php-fpm${php}` };
  return { apache: "/usr/local/sbin/httpd", rotatelogs: "/usr/local/sbin/rotatelogs", modules: "/usr/local/libexec/apache24", mimeTypes: "/usr/local/etc/apache24/mime.types", phpFpm: "/usr/local/sbin/php-fpm" };
}

/** In the order in which they depend on each other. Some are built in on some systems, which `<IfModule !…>` takes care of. */
export const apacheModules = [
  "mpm_event", "unixd", "log_config", "authn_core", "authn_file", "authz_core", "authz_host", "authz_user", "authz_groupfile", "auth_basic", "access_compat",
  "alias", "autoindex", "dir", "env", "expires", "filter", "deflate", "headers", "mime", "negotiation", "remoteip", "reqtimeout", "rewrite", "setenvif", "proxy", "proxy_fcgi",
] as const;
