/**
 * A process that plays the broker and publishes by itself: what the gateway can take when no broker stands in its way. What
 * it counts as acknowledged, the gateway has acknowledged. Argument: readings a message. Order: `messages`.
 */
import { createServer } from 'node:net';
import { writeFrame } from '../drivers/mqtt/frames.ts';
import { MqttLoad } from './mqtt-load.ts';
import { countAcks, type Packet, Publisher, packetReader } from './mqtt-publisher.ts';
import { serve } from './script.ts';

const [CONNECT, SUBSCRIBE, PINGREQ] = [1, 8, 12];
const CONNACK = Buffer.from([0x20, 2, 0, 0]);
const PINGRESP = Buffer.from([0xd0, 0]);
const SUBACK = 0x90;
const GRANTED_QOS_1 = 1;
/** Far more than one commit takes, and every packet id stays free long enough. */
const WINDOW = 30_000;

const load = new MqttLoad(Number(process.argv[2]));
let publisher: Publisher | undefined;

const server = createServer({ noDelay: true }, (socket) => {
  const current = new Publisher(socket, load, WINDOW);
  publisher = current;
  const reply = ({ type, body }: Packet) => {
    if (type === CONNECT) socket.write(CONNACK);
    if (type === PINGREQ) socket.write(PINGRESP);
    if (type === SUBSCRIBE) {
      const granted = Buffer.concat([body.subarray(0, 2), Buffer.alloc(filtersIn(body), GRANTED_QOS_1)]);
      socket.write(Buffer.concat([writeFrame(SUBACK, granted.length), granted]));
    }
  };
  const read = packetReader((packets) => {
    for (const packet of packets) reply(packet);
    current.acknowledged(countAcks(packets));
  });
  socket.on('data', read);
  socket.on('error', () => {});
});

/** A packet id, then filters: two bytes of length, the text, one byte of options. */
function filtersIn(body: Buffer): number {
  let filters = 0;
  for (let at = 2; at < body.length; at += 2 + body.readUInt16BE(at) + 1) filters++;
  return filters;
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  serve({ port: typeof address === 'object' && address !== null ? address.port : 0 }, async ({ messages = 0 }) => {
    if (publisher === undefined) throw new Error('no gateway is connected');
    await publisher.publish(messages);
    return { acknowledged: messages };
  });
});
