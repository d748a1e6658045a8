const PUBLISH_TYPE = 0x30;
const RETAIN_FLAG = 0x01;

/** A PUBLISH of QoS 0 (MQTT 3.1.1, section 3.3). */
export function publishPacket(topic: string, payload: string, retain: boolean): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const bodyBytes = 2 + topicBytes + Buffer.byteLength(payload);
  const lengthBytes: number[] = [];
  for (let rest = bodyBytes; lengthBytes.length === 0 || rest > 0; rest = Math.floor(rest / 128)) {
    lengthBytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
  }
  const packet = Buffer.allocUnsafe(1 + lengthBytes.length + bodyBytes);
  packet[0] = PUBLISH_TYPE | (retain ? RETAIN_FLAG : 0);
  packet.set(lengthBytes, 1);
  let at = 1 + lengthBytes.length;
  at = packet.writeUInt16BE(topicBytes, at);
  at += packet.write(topic, at);
  packet.write(payload, at);
  return packet;
}
