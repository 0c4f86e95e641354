// Parts of acme-client (5.4.0) that its types know only as a whole.
declare module "acme-client/src/client.js" {
  import type { Client } from "acme-client";
  const client: typeof Client;
  export = client;
}
declare module "acme-client/src/crypto/index.js" {
  import type { crypto } from "acme-client";
  const part: typeof crypto;
  export = part;
}
declare module "acme-client/src/axios.js" {
  import type { axios } from "acme-client";
  const instance: typeof axios;
  export = instance;
}
