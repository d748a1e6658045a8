/** From devices to the pipeline: everything that other parts use. */
export { type Ingest, startIngest } from './ingest.ts';
export type { IngestOptions, PipelinePort, TagPort } from './ports.ts';
export type { Fault, SourceState, UnitState } from './state.ts';
