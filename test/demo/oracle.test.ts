import { describe, expect, test } from '@jest/globals';
import { judgeContent, judgeLedger, judgeMessages, registerClaims } from '../../src/demo/oracle.ts';

const content = (entries: Record<string, [number, string]>) =>
  new Map(Object.entries(entries).map(([tag, [count, digest]]) => [tag, { count, digest }]));

describe('the oracle refuses', () => {
  test('a ledger that does not add up, has something pending, or is empty', () => {
    const fine = { accepted: 10, delivered: 8, pending: 0, writtenOff: 2, problems: [] };
    expect(judgeLedger(fine)).toEqual([]);
    expect(judgeLedger({ ...fine, delivered: 7 })).toHaveLength(1);
    expect(judgeLedger({ ...fine, delivered: 7, pending: 1 })).toEqual(['1 readings are still pending']);
    expect(judgeLedger({ accepted: 0, delivered: 0, pending: 0, writtenOff: 0, problems: [] })).toHaveLength(1);
    expect(judgeLedger({ ...fine, problems: ['block 3 is damaged'] })).toEqual(['block 3 is damaged']);
  });

  test('a reading that is missing, doubled, changed, or from nowhere', () => {
    const gateway = content({ 'a/x': [2, '01'], 'a/y': [1, '02'] });
    expect(judgeContent(gateway, content({ 'a/x': [2, '01'], 'a/y': [1, '02'] }))).toEqual([]);
    expect(judgeContent(gateway, content({ 'a/x': [2, '01'] }))).toHaveLength(1);
    expect(judgeContent(gateway, content({ 'a/x': [3, '09'], 'a/y': [1, '02'] }))).toHaveLength(1);
    expect(judgeContent(gateway, content({ 'a/x': [2, '0f'], 'a/y': [1, '02'] }))).toEqual([
      'a/x: 2 readings, but not the same ones',
    ]);
    expect(judgeContent(gateway, content({ 'a/x': [2, '01'], 'a/y': [1, '02'], 'a/z': [1, '03'] }))).toHaveLength(1);
  });

  test('a sensor message that is not in the cloud exactly once with its values', () => {
    const published = [{ topic: 'sensors/03/climate', payload: '{"ts":5000,"t":21.5,"h":40,"p":1013.2,"seq":0}' }];
    const reading = (field: string, value: number) => ({
      tag: `climate/03/${field}`,
      timeMs: 5000,
      value,
      status: 'good',
    });
    const all = [reading('temperature', 21.5), reading('humidity', 40), reading('pressure', 1013.2)];
    expect(judgeMessages(published, all, 5000)).toEqual([]);
    expect(judgeMessages(published, all.slice(1), 5000)).toHaveLength(1);
    // Published before the gateway listened: not its business, but twice is still wrong.
    expect(judgeMessages(published, [], 5001)).toEqual([]);
    expect(judgeMessages(published, [...all, reading('humidity', 40)], 5001)).toHaveLength(1);
    expect(judgeMessages(published, [...all, reading('humidity', 40)], 5000)).toHaveLength(1);
    expect(judgeMessages(published, [...all, { ...reading('humidity', 40), timeMs: 6000 }], 5000)).toHaveLength(1);
    expect(judgeMessages(published, [reading('temperature', 21.6), ...all.slice(1)], 5000)).toHaveLength(2);
  });

  test('a doubled message, unless the broker lost a connection and may have repeated it', () => {
    const published = [{ topic: 'sensors/03/climate', payload: '{"ts":5000,"t":21.5,"h":40,"p":1013.2,"seq":0}' }];
    const reading = (field: string, value: number) => ({
      tag: `climate/03/${field}`,
      timeMs: 5000,
      value,
      status: 'good',
    });
    const twice = [reading('temperature', 21.5), reading('humidity', 40), reading('pressure', 1013.2)].flatMap(
      (each) => [each, each],
    );
    expect(judgeMessages(published, twice, 5000)).toHaveLength(3);
    expect(judgeMessages(published, twice, 5000, true)).toEqual([]);
    expect(judgeMessages(published, [], 5000, true)).toHaveLength(3);
  });

  test('to claim anything of a bad reading, and asks about every other one', () => {
    const tags = [{ unit: 1, name: 'pump/total', type: 'uint64' }];
    const reading = { tag: 'plc/pump/total', timeMs: 9000, value: '9007199254740993', status: 'good' };
    expect(registerClaims([reading, { ...reading, value: null, status: 'bad' }], 'plc', tags)).toEqual([
      { unit: 1, tag: 'pump/total', value: '9007199254740993', wide: true, fromMs: 6500, toMs: 9001 },
    ]);
  });
});
