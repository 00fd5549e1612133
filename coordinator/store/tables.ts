/**
 * The tables of the coordinator's disk, by name, and how their keys are written.
 *
 * *Sublevels* hold rows, in order of their keys (rows.ts has their shapes). *Body kinds* hold bytes:
 * small ones in a table of that name, large ones in files, which `blob` points to. `sums` is the
 * store's own row about all of these (sums.ts).
 */

export const SUBLEVELS = [
  'meta',
  'account',
  'func',
  'image',
  'member',
  'invite',
  'call',
  'lease',
  'history',
  'callid',
  'owed',
  'output',
  'fetched',
  'log',
] as const
export type Sublevel = (typeof SUBLEVELS)[number]

/** The tables of rows; the others hold bytes. */
export const ROWS = [...SUBLEVELS, 'blob'] as const

/** What a call was given, and what its process wrote. */
export const BODIES = ['input', 'stdout', 'stderr'] as const
export type BodyKind = (typeof BODIES)[number]

/** The tables that the sums speak of. */
export const SUMMED = [...ROWS, ...BODIES] as const
export type SummedTable = (typeof SUMMED)[number]

export const TABLES = [...SUMMED, 'sums'] as const
/** `payload` is of version 1, and empty since (migrations.ts). */
export type Table = (typeof TABLES)[number] | 'payload'

/** Where the schema's version stands. Whoever opens the folder owns it, so the sums leave it out. */
export const SCHEMA_ROW = { table: 'meta', key: 'schema' } as const

/** Numbers in keys are padded so that their order is that of their text. */
export const numberKey = (value: number): string => value.toString().padStart(16, '0')
