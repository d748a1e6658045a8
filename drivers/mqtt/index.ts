/** The MQTT driver: listens to a broker, loses nothing that the broker keeps for it. */
import { defineDriver } from '../../src/driver.ts';
import { schema } from './schema.ts';
import { openSession } from './session.ts';

export const mqtt = defineDriver({
  name: 'mqtt',
  mode: 'listen',
  schema,
  // A client id connects once; two sources with default ids differ in their names, which are not known here.
  endpoint: (config) => `${config.url} ${config.clientId ?? config.topics.map((topic) => topic.filter).join(' ')}`,
  // Tags are known when messages come: they register themselves.
  plan: () => [],
  open: (config, _groups, context, sink, signal) => openSession(config, context, sink, signal),
});
