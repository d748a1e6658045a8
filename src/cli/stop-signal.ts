/**
 * Ctrl-C and SIGTERM as an AbortSignal. The first one asks the process to end in order; a second Ctrl-C means it: the
 * process ends at once, as after a power cut, and loses no more than that would. A part of the demo also ends when the
 * demo itself is gone.
 * @param onHangup what SIGHUP asks for instead of the end: files that are to be read again
 */
export function stopSignal(onHangup?: () => void): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', () => controller.abort());
  // The terminal was closed.
  process.on('SIGHUP', onHangup ?? (() => controller.abort()));
  process.once('disconnect', () => controller.abort());
  // The channel to a parent must not keep the process alive when everything else has ended.
  process.channel?.unref();
  return controller.signal;
}
