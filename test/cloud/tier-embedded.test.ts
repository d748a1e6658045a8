import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '../../src/cloud/store.ts';
import { standing } from './cloud.ts';
import { START_MS } from './gateway.ts';
import { tierContract } from './tier-contract.ts';

tierContract('embedded', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-tier-'));
  const store = openStore(folder, standing(START_MS + 3_600_000));
  return {
    tier: store.tier,
    end: async () => {
      store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
