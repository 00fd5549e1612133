/*
 * A function that looks for its neighbours below the ports and addresses: it calls out by broadcast,
 * by ARP and by frames of no protocol, and prints what it hears of others that do the same.
 * Arguments: its word, and for how many seconds it goes on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 5353
#define OWN_PROTOCOL 0x88b5 /* For experiments: no stack takes it. */
#define PAUSE_MS 50

static void hear(const char *how, const char *own, const char *bytes, ssize_t got, ssize_t from) {
  char word[33] = {0};
  if (got <= from || memcmp(bytes + from, "word:", 5) != 0) return;
  size_t length = (size_t)(got - from - 5) < sizeof word ? (size_t)(got - from - 5) : sizeof word - 1;
  memcpy(word, bytes + from + 5, length);
  if (strcmp(word, own) != 0) printf("heard %s %s\n", how, word);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const char *own = argv[1];
  time_t until = time(NULL) + atoi(argv[2]);
  char said[64];
  int said_bytes = snprintf(said, sizeof said, "word:%s", own) + 1;

  int yes = 1;
  int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  setsockopt(udp, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
  if (bind(udp, (struct sockaddr *)&here, sizeof here) < 0) return 3;
  struct ip_mreq group = {.imr_multiaddr.s_addr = inet_addr("224.0.0.251")};
  setsockopt(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group);

  int raw = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
  printf("%s a packet socket\n", raw >= 0 ? "open" : "shut");
  struct sockaddr_ll link = {.sll_family = AF_PACKET,
                             .sll_ifindex = (int)if_nametoindex("eth0"),
                             .sll_halen = ETH_ALEN,
                             .sll_addr = {255, 255, 255, 255, 255, 255}};
  const uint16_t protocols[] = {OWN_PROTOCOL, ETH_P_ARP};

  while (time(NULL) < until) {
    const char *everyone[] = {"255.255.255.255", "224.0.0.251"};
    for (int i = 0; i < 2; i++) {
      struct sockaddr_in there = here;
      there.sin_addr.s_addr = inet_addr(everyone[i]);
      sendto(udp, said, (size_t)said_bytes, 0, (struct sockaddr *)&there, sizeof there);
    }
    for (int i = 0; raw >= 0 && i < 2; i++) {
      struct ether_header head = {.ether_type = htons(protocols[i])};
      memset(head.ether_dhost, 255, ETH_ALEN);
      head.ether_shost[0] = 2;
      char frame[128] = {0};
      memcpy(frame, &head, sizeof head);
      memcpy(frame + sizeof head, said, (size_t)said_bytes);
      sendto(raw, frame, sizeof frame, 0, (struct sockaddr *)&link, sizeof link);
    }
    struct pollfd both[2] = {{.fd = udp, .events = POLLIN}, {.fd = raw, .events = POLLIN}};
    poll(both, 2, PAUSE_MS);
    char heard[2048];
    ssize_t got;
    while ((got = recv(udp, heard, sizeof heard, 0)) > 0) hear("datagram", own, heard, got, 0);
    while (raw >= 0 && (got = recv(raw, heard, sizeof heard, 0)) > 0) {
      struct ether_header head;
      memcpy(&head, heard, sizeof head);
      const char *how = ntohs(head.ether_type) == ETH_P_ARP ? "arp" : "frame";
      if (ntohs(head.ether_type) != ETH_P_IP) hear(how, own, heard, got, sizeof head);
    }
  }
  return 0;
}
