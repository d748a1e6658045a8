/** Between drivers and cache: everything that other parts use. */
export { type Pipeline, type PipelineOptions, startPipeline } from './pipeline.ts';
export { DEFAULT_FIELDS, type RegisteredTag, TagRegistry } from './registry.ts';
export { ladderAction, ladderCause, ladderRemedy, ladderText, slowdownAt } from './relief.ts';
export type { SourceHealth } from './source-alarms.ts';
