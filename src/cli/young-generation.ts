/**
 * How V8 treats objects that die soon. Starting makes many, so the space for new ones grows to 32 MB within a second, of
 * which V8 gives nothing back for a minute or for ever, depending on how busy the machine is. Kept from growing while the
 * program is loaded, it is as large as what runs afterwards needs.
 *
 * V8 reads this flag each time it thinks of growing (`SemiSpaceNewSpace::Grow`); the one that is called
 * `--max-semi-space-size` counts only on the command line, which we do not have: users start us as `sluice run`.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--semi-space-growth-factor=1');
