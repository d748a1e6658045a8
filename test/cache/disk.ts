// A disk of its own for a test: ext4 in a file, mounted over a loop device, whose power can be cut.
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { folder } from './rig.ts';

const SIZE_BYTES = 48_000_000;
/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more reaches the disk, what was not synced is gone. */
const SHUTDOWN =
  "import fcntl,os,struct,sys; fd=os.open(sys.argv[1],os.O_RDONLY); fcntl.ioctl(fd,0x8004587d,struct.pack('I',2))";

function does(command: string, ...args: string[]): boolean {
  return spawnSync(command, args).status === 0;
}

export class Disk {
  readonly path: string;
  readonly #image: string;

  /** @param place folder for the image and the mount. */
  constructor(place: string) {
    this.#image = join(place, 'disk.img');
    this.path = join(place, 'disk');
    mkdirSync(this.path);
    const handle = openSync(this.#image, 'w');
    ftruncateSync(handle, SIZE_BYTES);
    closeSync(handle);
    if (!does('mkfs.ext4', '-q', '-F', this.#image) || !this.mount()) throw new Error('no disk could be made');
  }

  mount(): boolean {
    return does('mount', '-o', 'loop', this.#image, this.path);
  }
  unmount(): void {
    does('umount', '-l', this.path);
  }
  /** As the kernel does it after an error of the device: open files or not. */
  turnReadOnly(): boolean {
    return does('mount', '-o', 'remount,abort', this.path);
  }
  remountReadOnly(): boolean {
    return does('mount', '-o', 'remount,ro', this.path);
  }
  /** Whoever writes gets errors from now on; `remounted` shows what was on the disk. */
  cutPower(): boolean {
    return does('python3', '-c', SHUTDOWN, this.path);
  }
  remounted(): void {
    this.unmount();
    if (!this.mount()) throw new Error('the disk cannot be mounted again');
  }
}

/** Undefined when disks can be made, else why not. */
export function noDisks(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  const place = folder();
  try {
    const disk = new Disk(place.path);
    const works = disk.cutPower();
    disk.unmount();
    return works ? undefined : 'the shutdown of a file system needs python3 and ext4';
  } catch {
    return 'needs mkfs.ext4 and loop devices';
  } finally {
    place.remove();
  }
}
