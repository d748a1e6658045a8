/**
 * A process that publishes to a broker. Arguments: the broker's port, readings a message. Order: `messages`; answered when
 * the broker has acknowledged them, which says nothing of the gateway.
 */
import { connect } from 'node:net';
import { writeFrame } from '../drivers/mqtt/frames.ts';
import { MqttLoad } from './mqtt-load.ts';
import { countAcks, Publisher, packetReader } from './mqtt-publisher.ts';
import { serve } from './script.ts';

const CONNACK = 2;
/** Protocol name and level 4 (MQTT 3.1.1), clean session, no keep-alive, client id "bench". */
const CONNECT_BODY = Buffer.from('\0\x04MQTT\x04\x02\0\0\0\x05bench', 'latin1');
const WINDOW = 1000;

const [, , port, readings] = process.argv;
const socket = connect({ host: '127.0.0.1', port: Number(port), noDelay: true });
const publisher = new Publisher(socket, new MqttLoad(Number(readings)), WINDOW);
const read = packetReader((packets) => {
  if (packets.some(({ type }) => type === CONNACK)) {
    serve({ port: Number(port) }, async ({ messages = 0 }) => {
      await publisher.publish(messages);
      return { acknowledged: messages };
    });
  }
  publisher.acknowledged(countAcks(packets));
});
socket.on('data', read);
socket.write(Buffer.concat([writeFrame(0x10, CONNECT_BODY.length), CONNECT_BODY]));
