/** Jest runs on compiled output (see docs/architecture.md); `npm test` builds first. */
module.exports = {
  rootDir: "dist",
  testMatch: ["<rootDir>/test/**/*.test.js"],
  testEnvironment: "node",
  coverageProvider: "v8",
  transform: {},
  testTimeout: 120_000,
  testSequencer: require.resolve("./bin/test-order.js"),
};
