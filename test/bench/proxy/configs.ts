import { ciphers } from "../../../daemon/proxy/tls-contexts.js";
import { hosts } from "./scenarios.js";

/**
 * Configurations of the sides, pure. What all of them do: one thread, route by host name, take X-Forwarded-* of clients away and set their own, keep connections to clients and to the backend,
 * write no access log (ours has none yet), keep nothing on disk. With TLS: the same certificate, versions, ciphers in the same order of the server's, session tickets, HTTP/2 by ALPN.
 */
export interface Ports { http: number; tls?: number; backend: number }
export interface PemFiles { cert: string; key: string; /** Both in one file, for haproxy. */ both: string }

const names = Object.values(hosts);
/** OpenSSL has two lists: those of TLS 1.3 and those before it. */
const [newer, older] = [true, false].map((is13) => ciphers.split(":").filter((name) => name.startsWith("TLS_") === is13).join(":")) as [string, string];
/** Debian's defaults for temporary files lie in /var, which a benchmark has no business in. */
const nginxFolders = (dir: string): string => ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `  ${kind}_temp_path ${dir}/${kind};`).join("\n");
const nginxStart = (name: string): string => `daemon off; master_process off; worker_rlimit_nofile 20000; pid ${name}.pid; error_log stderr warn;
events { worker_connections 16000; }
`;

/** Files of /1k and /10m; a log line for each request to the held site. Never the bottleneck: sendfile, files kept open. */
export const backend = (dir: string, port: number): string => `${nginxStart("backend")}http {
${nginxFolders(dir)}
  log_format arrival '$status $request_time $msec';
  map $host $held { default 0; ${hosts.held} 1; }
  access_log ${dir}/arrivals.log arrival if=$held;
  sendfile on; tcp_nopush on; open_file_cache max=10; default_type text/html;
  keepalive_timeout 60s; keepalive_requests 100000000;
  server { listen 127.0.0.1:${port} backlog=4096; root ${dir}/content; }
}
`;

export const nginx = (dir: string, ports: Ports, pem: PemFiles): string => `${nginxStart("nginx")}http {
${nginxFolders(dir)}
  access_log off; keepalive_timeout 60s; keepalive_requests 100000000;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_prefer_server_ciphers on; ssl_ciphers ${older}; ssl_conf_command Ciphersuites ${newer};
  upstream backend { server 127.0.0.1:${ports.backend}; keepalive 128; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${ports.http} backlog=4096;
    ${ports.tls === undefined ? "" : `listen 127.0.0.1:${ports.tls} ssl http2 backlog=4096; ssl_certificate ${pem.cert}; ssl_certificate_key ${pem.key};`}
    server_name ${names.join(" ")};
    location / {
      proxy_pass http://backend; proxy_http_version 1.1; proxy_max_temp_file_size 0;
      proxy_set_header Host $host; proxy_set_header Connection ""; proxy_set_header Forwarded "";
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    }
  }
  server { listen 127.0.0.1:${ports.http} default_server; return 404; }
}
`;

export const haproxy = (ports: Ports, pem: PemFiles): string => `global
  nbthread 1
  maxconn 9000
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-ciphers ${older}
  ssl-default-bind-ciphersuites ${newer}
defaults
  mode http
  option http-keep-alive
  http-reuse safe
  timeout connect 1s
  timeout client 60s
  timeout server 180s
  timeout http-request 15s
  timeout http-keep-alive 60s
frontend public
  bind 127.0.0.1:${ports.http} backlog 4096
${ports.tls === undefined ? "" : `  bind 127.0.0.1:${ports.tls} ssl crt ${pem.both} strict-sni alpn h2,http/1.1 backlog 4096\n`}  http-request del-header X-Forwarded-For
  http-request del-header Forwarded
  option forwardfor
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  use_backend site if { hdr(host) -i ${names.join(" ")} }
  default_backend none
backend site
  server one 127.0.0.1:${ports.backend} maxconn 9000
backend none
  http-request return status 404
`;
