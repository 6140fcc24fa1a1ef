// A certified OpenID provider for tests: people who type their name are known, programs come with a secret.
// Usage: node provider.js CONFIGURATION (JSON: port, clients, jwks, people, programs). Prints one line when it listens.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const given = JSON.parse(readFileSync(process.argv[2], "utf8"));
const issuer = `http://localhost:${given.port}`; // to browsers another site than 127.0.0.1

const account = (_, id) => ({
  accountId: id,
  claims: async () => ({ sub: id, ...given.people[id] }),
});

const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: given.jwks,
  findAccount: async (context, id) => (given.people[id] ? account(context, id) : undefined),
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  // By itself it calls nobody on this machine, where the tests' consoles are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["of the tests"] },
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: async (_, resource) => ({
        scope: "act",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
      }),
    },
  },
  extraTokenClaims: async (_, token) => ({ groups: given.programs[token.clientId] ?? [] }),
  ttl: { Session: 3600, Grant: 3600, Interaction: 600, IdToken: 600, AccessToken: 600 },
});

provider.on("backchannel.error", (_, error) => console.error(error.message, error.cause ?? ""));

createServer(provider.callback()).listen(given.port, "127.0.0.1", () => console.log(issuer));
