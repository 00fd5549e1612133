/**
 * Which names mean this machine itself. What is said to one of them stays on it, so tokens may
 * travel there in the clear. Pure: the text of a name decides, no resolver is asked.
 */

const LOOPBACK = /^(?:localhost|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|::1|\[::1\])$/i

/** For a host's name without port, as `URL.hostname` or `--listen` has it. */
export const isLoopback = (hostname: string): boolean => LOOPBACK.test(hostname)
