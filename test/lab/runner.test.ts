import { SshRunner } from "../../providers/ssh/ssh-runner.js";
import { runnerContract } from "../contract/runner.js";
import { withLab } from "../support/lab.js";

const lab = withLab(1);
runnerContract({
  name: "SSH to OpenSSH on a lab node",
  runner: () => new SshRunner(lab.node("n1")),
  pidLives: async (pid) => (await lab.node("n1").exec(["test", "-e", `/proc/${pid}`])).code === 0,
});
