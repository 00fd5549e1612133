/** This version of hyper: the package's own, in one place that needs no file to be read. */
export const VERSION = '0.1.0'
