/*
 * The network of a container that has one: a namespace with a pair of interfaces, of which the other
 * end is a port of the agent's bridge, made before the container is and kept by a mount in the
 * keeper's own mount namespace. It goes with the keeper and the container, whatever ends them.
 *
 * Who takes an address takes the name of its number for the host's end first, and the kernel lets a
 * name be there once: no two containers have one address, whichever agent started them.
 *
 * No IPv6: rules are set for IPv4, and by its own addresses a container would reach the host's ports.
 */
#include "hyper-keeper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than so many tries are a network that is as good as full. */
#define TRIES_MAX 64
/* Of the bridge's name, in the names of its ports. */
#define BRIDGE_CHARS 4

struct request {
  struct nlmsghdr header;
  uint8_t bytes[512];
};

static int host = -1; /* Netlink, in the bridge's namespace. */
static char port[IFNAMSIZ];

/* ---- netlink ---- */

static void *put(struct request *to, const void *bytes, size_t length) {
  uint8_t *at = (uint8_t *)to + NLMSG_ALIGN(to->header.nlmsg_len);
  if (at + length > (uint8_t *)(to + 1)) _exit(70);
  memcpy(at, bytes, length);
  to->header.nlmsg_len = (uint32_t)(at + length - (uint8_t *)to);
  return at;
}

static struct rtattr *put_attribute(struct request *to, int type, const void *value, size_t length) {
  struct rtattr attribute = {.rta_type = (unsigned short)type,
                             .rta_len = (unsigned short)RTA_LENGTH(length)};
  struct rtattr *at = put(to, &attribute, sizeof attribute);
  if (length > 0) put(to, value, length);
  return at;
}

/* Those that are put until it is closed are within it. */
static struct rtattr *open_attribute(struct request *to, int type) {
  return put_attribute(to, type, NULL, 0);
}

static void close_attribute(struct request *to, struct rtattr *attribute) {
  attribute->rta_len =
      (unsigned short)((uint8_t *)to + NLMSG_ALIGN(to->header.nlmsg_len) - (uint8_t *)attribute);
}

static struct request request_of(int type, int flags, const void *body, size_t length) {
  struct request made = {.header = {.nlmsg_len = NLMSG_LENGTH(0),
                                    .nlmsg_type = (uint16_t)type,
                                    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)}};
  put(&made, body, length);
  return made;
}

static int open_netlink(void) {
  int made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (made < 0) fail("no netlink");
  return made;
}

/* Whether it was done; errno says why not. */
static bool ask(int netlink, struct request *request) {
  struct {
    struct nlmsghdr header;
    struct nlmsgerr answer;
    uint8_t rest[1024];
  } answer;
  if (send(netlink, request, request->header.nlmsg_len, 0) < 0) return false;
  if (recv(netlink, &answer, sizeof answer, 0) < (ssize_t)NLMSG_LENGTH(sizeof answer.answer) ||
      answer.header.nlmsg_type != NLMSG_ERROR) {
    errno = EPROTO;
    return false;
  }
  errno = -answer.answer.error;
  return answer.answer.error == 0;
}

/* ---- what is asked ---- */

static unsigned mtu_of(const char *name) {
  struct ifreq asked = {0};
  memcpy(asked.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
  if (ioctl(host, SIOCGIFMTU, &asked) < 0) fail(name);
  return (unsigned)asked.ifr_mtu;
}

/* The bridge's MTU at both ends: larger packets would be lost on the way out. */
static bool add_pair(unsigned bridge, unsigned mtu, int namespace) {
  struct ifinfomsg up = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP}, peer = {0};
  struct request add = request_of(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof up);
  put_attribute(&add, IFLA_IFNAME, port, strlen(port) + 1);
  put_attribute(&add, IFLA_MASTER, &bridge, sizeof bridge);
  put_attribute(&add, IFLA_MTU, &mtu, sizeof mtu);
  struct rtattr *info = open_attribute(&add, IFLA_LINKINFO);
  put_attribute(&add, IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = open_attribute(&add, IFLA_INFO_DATA);
  struct rtattr *other = open_attribute(&add, VETH_INFO_PEER);
  put(&add, &peer, sizeof peer);
  put_attribute(&add, IFLA_IFNAME, "eth0", 5);
  put_attribute(&add, IFLA_MTU, &mtu, sizeof mtu);
  put_attribute(&add, IFLA_NET_NS_FD, &namespace, sizeof namespace);
  close_attribute(&add, other);
  close_attribute(&add, data);
  close_attribute(&add, info);
  return ask(host, &add);
}

/* Ports that are isolated reach the bridge, and not each other. */
static void isolate(unsigned index) {
  struct ifinfomsg which = {.ifi_family = AF_BRIDGE, .ifi_index = (int)index};
  struct request set = request_of(RTM_SETLINK, 0, &which, sizeof which);
  struct rtattr *flags = open_attribute(&set, IFLA_PROTINFO | NLA_F_NESTED);
  put_attribute(&set, IFLA_BRPORT_ISOLATED, &(uint8_t){1}, 1);
  close_attribute(&set, flags);
  if (!ask(host, &set)) fail("no isolated port");
}

static void set_up(int own, const char *name) {
  struct ifinfomsg up = {
      .ifi_index = (int)if_nametoindex(name), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  struct request set = request_of(RTM_NEWLINK, 0, &up, sizeof up);
  if (!ask(own, &set)) fail(name);
}

static void add_address(int own, uint32_t address, int prefix) {
  struct ifaddrmsg to = {.ifa_family = AF_INET,
                         .ifa_prefixlen = (uint8_t)prefix,
                         .ifa_index = if_nametoindex("eth0")};
  struct request add = request_of(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &to, sizeof to);
  uint32_t all = address | htonl((uint32_t)(0xffffffffull >> prefix));
  put_attribute(&add, IFA_LOCAL, &address, sizeof address);
  put_attribute(&add, IFA_ADDRESS, &address, sizeof address);
  put_attribute(&add, IFA_BROADCAST, &all, sizeof all);
  if (!ask(own, &add)) fail("no address");
}

static void add_route(int own, const char *gateway) {
  struct rtmsg all = {.rtm_family = AF_INET,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = RTPROT_BOOT,
                      .rtm_scope = RT_SCOPE_UNIVERSE,
                      .rtm_type = RTN_UNICAST};
  struct request add = request_of(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &all, sizeof all);
  uint32_t through = inet_addr(gateway);
  put_attribute(&add, RTA_GATEWAY, &through, sizeof through);
  if (!ask(own, &add)) fail("no route");
}

/* ---- the whole ---- */

static void forbid_ipv6(void) {
  static const char *const NAMES[] = {"all", "default"};
  for (int i = 0; i < 2; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", NAMES[i]);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    /* A kernel without IPv6. */
    if (file < 0 && errno == ENOENT) return;
    if (file < 0 || write(file, "1", 1) != 1) fail("IPv6 could not be turned off");
    close(file);
  }
}

static int open_namespace(const char *path) {
  int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0) fail("no network namespace");
  return namespace;
}

static void enter(int namespace) {
  if (setns(namespace, CLONE_NEWNET) < 0) fail("a network namespace is not to be entered");
}

static void write_host(struct in_addr address) {
  char name[HOST_NAME_MAX_CHARS + 1] = "";
  FILE *file = fopen("t/hostname", "re");
  if (file == NULL || fscanf(file, "%64s", name) != 1) fail("hostname");
  fclose(file);
  file = fopen("t/hosts", "ae");
  if (file == NULL || fprintf(file, "%s\t%s\n", inet_ntoa(address), name) < 0) fail("hosts");
  fclose(file);
}

void link_container(char **link) {
  if (link[0] == NULL) return;
  const char *where = link[0], *bridge_name = link[1], *gateway = link[2];
  uint32_t first = (uint32_t)strtoul(link[3], NULL, 10);
  uint32_t count = (uint32_t)strtoul(link[4], NULL, 10);
  int prefix = atoi(link[5]);
  uint32_t number = (uint32_t)strtoul(link[6], NULL, 10);

  int home = open_namespace("/proc/self/ns/net"), outside = open_namespace(where);
  enter(outside);
  host = open_netlink();
  unsigned bridge = if_nametoindex(bridge_name);
  if (bridge == 0) fail(bridge_name);
  unsigned mtu = mtu_of(bridge_name);
  if (unshare(CLONE_NEWNET) < 0) fail("no network namespace of its own");
  int inside = open_namespace("/proc/self/ns/net"), own = open_netlink();
  forbid_ipv6();

  const char *of = bridge_name + strlen(bridge_name) - strnlen(bridge_name, BRIDGE_CHARS);
  for (int tries = 0;; tries++, number++) {
    number %= count;
    snprintf(port, sizeof port, "hyp%s-%x", of, number);
    if (add_pair(bridge, mtu, inside)) break;
    if (errno != EEXIST || tries == TRIES_MAX) fail("no port at the bridge");
  }
  struct in_addr address = {.s_addr = htonl(first + number)};
  add_address(own, address.s_addr, prefix);
  set_up(own, "lo");
  /* Nobody is heard through the port before this. */
  enter(outside);
  isolate(if_nametoindex(port));
  enter(inside);
  set_up(own, "eth0");
  add_route(own, gateway);

  int file = open("t/net", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 || mount("/proc/self/ns/net", "t/net", NULL, MS_BIND, NULL) < 0) {
    fail("its network namespace could not be kept");
  }
  close(file);
  enter(home);
  close(home);
  close(outside);
  close(inside);
  close(own);
  write_host(address);
}

void unlink_container(void) {
  if (host < 0) return;
  struct ifinfomsg which = {0};
  struct request remove = request_of(RTM_DELLINK, 0, &which, sizeof which);
  put_attribute(&remove, IFLA_IFNAME, port, strlen(port) + 1);
  /* Where it fails, it goes with the namespace. */
  ask(host, &remove);
}
