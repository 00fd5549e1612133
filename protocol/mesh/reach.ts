/**
 * Which of the addresses that a coordinator listens on are told to other hosts, and in which order.
 * Pure: the host's network interfaces are handed in.
 *
 *   of any other host's reach     public ones, then those of private networks
 *   where there is none of these  virtual networks of this host, link-local, loopback: so that a
 *                                 ticket works on the same host, with the network off as well
 *
 * Where the first kind is there, the second is left out: from another host it leads nowhere, or to
 * whoever has that address there, and each such address costs the one who dials it time.
 */

import { isLinkLocal, isLoopback, isPrivate } from '@libp2p/utils'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

/** As os.networkInterfaces() tells them: by name, the addresses of each. */
export type Interfaces = Readonly<
  Record<string, readonly { readonly address: string }[] | undefined>
>

/**
 * Bridges and ends of containers and virtual machines: Docker's, ours, Podman's, Kubernetes', libvirt's,
 * LXC's, VirtualBox's. A `br0` is somebody's own, most often with the LAN behind it, and a VPN's
 * interface is how some hosts reach each other: both are as good as a card.
 */
const VIRTUAL =
  /^(?:docker\d+|docker_gwbridge|br-[0-9a-f]{12}|hyper-[0-9a-f]{8}|veth.*|podman\d+|cni.*|flannel.*|cali.*|kube-.*|virbr\d+|lxcbr\d+|lxdbr\d+|vboxnet\d+|vmnet\d+)$/

const KINDS = ['public', 'private', 'virtual', 'link-local', 'loopback'] as const
type Kind = (typeof KINDS)[number]

const ipOf = (address: Multiaddr): { readonly version: string; readonly text: string } => {
  const [first] = address.getComponents().filter(({ name }) => name === 'ip4' || name === 'ip6')
  return { version: first?.name ?? '', text: first?.value ?? '' }
}

const kindOf = (address: Multiaddr, virtual: ReadonlySet<string>): Kind => {
  if (isLoopback(address)) return 'loopback'
  if (isLinkLocal(address)) return 'link-local'
  if (virtual.has(ipOf(address).text)) return 'virtual'
  return isPrivate(address) ? 'private' : 'public'
}

/** Of multiaddrs without a peer id, those to tell, the best first. */
export const reachableAddresses = (
  listening: readonly string[],
  interfaces: Interfaces,
): readonly string[] => {
  const virtual = new Set(
    Object.entries(interfaces)
      .filter(([name]) => VIRTUAL.test(name))
      .flatMap(([, addresses = []]) => addresses.map(({ address }) => address)),
  )
  const known = listening.map((text) => {
    const address = multiaddr(text)
    return { text, version: ipOf(address).version, kind: kindOf(address, virtual) }
  })
  const of = (...kinds: readonly Kind[]): string[] =>
    known
      // A link-local address of IPv6 is none without the name of the other host's own interface.
      .filter(
        ({ kind, version }) =>
          kinds.includes(kind) && !(kind === 'link-local' && version === 'ip6'),
      )
      .sort(
        (one, other) =>
          KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind) ||
          one.version.localeCompare(other.version),
      )
      .map(({ text }) => text)
  const reachable = of('public', 'private')
  return reachable.length > 0 ? reachable : of('virtual', 'link-local', 'loopback')
}
