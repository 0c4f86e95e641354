import { closeConnections } from "../../providers/ssh/pool.js";
import { SshRunner } from "../../providers/ssh/ssh-runner.js";
import { startSshServer, type TestSshServer } from "../support/ssh-server.js";
import { pidLivesHere, runnerContract } from "./runner.js";

let server: TestSshServer;
beforeAll(async () => { server = await startSshServer(); });
afterAll(async () => {
  await closeConnections();
  await server.close();
});
runnerContract({ name: "SSH to a server in this process", runner: () => new SshRunner(server.target), pidLives: pidLivesHere });
