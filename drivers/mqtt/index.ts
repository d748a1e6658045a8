/** The MQTT driver: listens to a broker, loses nothing that the broker keeps for it. */
import { defineDriver } from '../../src/driver.ts';
import { schema } from './schema.ts';

export const mqtt = defineDriver({
  name: 'mqtt',
  mode: 'listen',
  schema,
  // A client id connects once; two sources with default ids differ in their names, which are not known here.
  endpoint: (config) => `${config.url} ${config.clientId ?? config.topics.map((topic) => topic.filter).join(' ')}`,
  // Tags are known when messages come: they register themselves.
  plan: () => [],
  open: async (config, _groups, context, sink, signal) => {
    // The client library takes 15 MB: only where a source uses it.
    const { openSession } = await import('./session.ts');
    return openSession(config, context, sink, signal);
  },
});
