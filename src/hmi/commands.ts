/**
 * What a client with the right to write may ask for: `sluice/<gateway>/$cmd/ack` with `{"alarm":"boiler/flow_temp/hi"}`. The
 * answer goes to that client alone, on `sluice/<gateway>/$reply/<its client id>`, if it subscribed there; a `request` in the
 * command comes back in it. (MQTT 3.1.1 has no response topics, and the broker speaks no other version.)
 */
export interface CommandAnswer {
  readonly ok: boolean;
  readonly command: string;
  readonly request?: string | number;
  readonly error?: string;
}

const SHOWN_CHARACTERS = 40;

export function answerCommand(
  command: string,
  payload: Buffer,
  by: string,
  acknowledge: (alarmId: string, by: string) => boolean,
): CommandAnswer {
  const asked = parseObject(payload);
  const request = asked?.request;
  const echoed = typeof request === 'string' || typeof request === 'number' ? { request } : {};
  const answer = (error?: string): CommandAnswer => ({
    ok: error === undefined,
    command: command.slice(0, SHOWN_CHARACTERS),
    ...echoed,
    ...(error === undefined ? {} : { error }),
  });
  if (asked === undefined) return answer('expected a JSON object');
  if (command !== 'ack') return answer('no such command');
  if (typeof asked.alarm !== 'string') return answer('expected {"alarm": "<its id>"}');
  return acknowledge(asked.alarm, by) ? answer() : answer('no such alarm, or it is acknowledged already');
}

function parseObject(payload: Buffer): { readonly alarm?: unknown; readonly request?: unknown } | undefined {
  try {
    const parsed: unknown = JSON.parse(payload.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}
