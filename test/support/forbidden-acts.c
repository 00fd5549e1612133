/*
 * A function that tries what no function may do, and says of each act whether it was open to it. The
 * acts are such that one which succeeds does no harm: nothing is written to a file of the host, no
 * module is one, the clock is set to what it is.
 */
#define _GNU_SOURCE /* unshare, setns */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What was refused as such; any other error came after the door. */
static bool is_refusal(int reason) {
  const int refusals[] = {EPERM, EACCES, ENOSYS, EROFS, ENOENT, ETXTBSY,
                          EAFNOSUPPORT, EOPNOTSUPP, ENXIO, ENODEV};
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    if (refusals[i] == reason) return true;
  }
  return false;
}

static void say(const char *act, long got) {
  printf("%s %s\n", got < 0 && is_refusal(errno) ? "shut" : "open", act);
  fflush(stdout);
}

static long opened(const char *path, int flags) {
  int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd;
}

/* Of files that stand empty, or end at once, in their place. */
static long has_bytes(const char *path) {
  char byte;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  long got = read(fd, &byte, 1);
  close(fd);
  if (got == 0) errno = ENOENT;
  return got > 0 ? 0 : -1;
}

/* A place that is not there, where there is no hyper-init. */
static const char *init_place = "/.hyper";

/* In a process of its own, because it changes what the next acts could do. */
static long aside(long (*act)(void)) {
  pid_t child = fork();
  if (child == 0) _exit(act() < 0 ? errno : 0);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) < 0) return -1;
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
  return errno == 0 ? 0 : -1;
}

static long new_user(void) { return unshare(CLONE_NEWUSER); }
static long new_mounts(void) { return unshare(CLONE_NEWNS); }
static long new_network(void) { return unshare(CLONE_NEWNET); }
static long new_processes(void) { return unshare(CLONE_NEWPID); }
static long clone_user(void) {
  long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) _exit(0);
  return child;
}
static long join_first(void) {
  int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -1 : setns(fd, 0);
}
static long mount_memory(void) { return mount("none", "/mnt", "tmpfs", 0, NULL); }
static long mount_processes(void) { return mount("none", "/mnt", "proc", 0, NULL); }
static long mount_bound(void) { return mount("/", "/mnt", NULL, MS_BIND, NULL); }
static long open_mount(void) { return mount(NULL, init_place, NULL, MS_REMOUNT | MS_BIND, NULL); }
static long take_mount(void) { return umount2(init_place, MNT_DETACH); }
static long raise_files(void) {
  return setrlimit(RLIMIT_NOFILE, &(struct rlimit){1 << 19, 1 << 19});
}
static long hurry(void) { return setpriority(PRIO_PROCESS, 0, -5); }
static long real_time(void) {
  return sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
}

static long open_node(mode_t kind, dev_t device) {
  const char *path = "/tmp/node";
  unlink(path);
  if (mknod(path, kind | 0600, device) < 0) return -1;
  long got = opened(path, O_RDONLY);
  int reason = errno;
  unlink(path);
  errno = reason;
  return got;
}

/* The first disk that the kernel names. */
static dev_t some_disk(void) {
  FILE *file = fopen("/proc/partitions", "r");
  char line[256];
  unsigned major_no = 7, minor_no = 0, from, to;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%u %u", &from, &to) == 2) major_no = from, minor_no = to;
  }
  if (file != NULL) fclose(file);
  return makedev(major_no, minor_no);
}

static long make_immutable(void) {
  int fd = open("/tmp/kept", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int flags = FS_IMMUTABLE_FL, none = 0;
  if (fd < 0) return -1;
  long got = ioctl(fd, FS_IOC_SETFLAGS, &flags);
  int reason = errno;
  if (got == 0) ioctl(fd, FS_IOC_SETFLAGS, &none);
  close(fd);
  errno = reason;
  return got;
}

static long socket_of(int family, int type, int protocol) {
  int fd = socket(family, type, protocol);
  if (fd >= 0) close(fd);
  return fd;
}

static const char *in_init_place(const char *name) {
  static char paths[4][320];
  static int at;
  char *path = paths[at++ % 4];
  snprintf(path, sizeof *paths, "%s/%s", init_place, name);
  return path;
}

int main(void) {
  glob_t found;
  if (glob("/.hyper-*", 0, NULL, &found) == 0) init_place = found.gl_pathv[0];
  printf("place %s\n", init_place);
  char words[64] = {0};
  struct timespec now;
  mkdir("/mnt", 0755);
  /* In the older version of groups only what is below is one. */
  bool is_older = access("/sys/fs/cgroup/memory", F_OK) == 0;
  const char *group = is_older ? "/sys/fs/cgroup/memory/x" : "/sys/fs/cgroup/x";

  const char *ours[] = {"hyper-init", "switch"};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) say(ours[i], opened(in_init_place(ours[i]), O_WRONLY));
  const char *written[] = {"/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches",
                           "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
                           "/proc/irq/default_smp_affinity", "/sys/kernel/mm/transparent_hugepage/enabled",
                           "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max",
                           "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"};
  for (size_t i = 0; i < sizeof written / sizeof *written; i++) say(written[i], opened(written[i], O_WRONLY));
  say("a file beside hyper-init", opened(in_init_place("x"), O_WRONLY | O_CREAT));
  say("rename beside hyper-init", rename(in_init_place("switch"), in_init_place("hctiws")));
  say("a group of its own", mkdir(group, 0755));
  const char *read_from[] = {"/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/proc/keys",
                             "/proc/timer_list", "/proc/sched_debug"};
  for (size_t i = 0; i < sizeof read_from / sizeof *read_from; i++) say(read_from[i], has_bytes(read_from[i]));
  say("syslog", klogctl(3, words, sizeof words - 1));

  say("mount tmpfs", aside(mount_memory));
  say("mount proc", aside(mount_processes));
  say("bind mount", aside(mount_bound));
  say("remount the place of hyper-init", aside(open_mount));
  say("unmount the place of hyper-init", aside(take_mount));
  say("open a disk", open_node(S_IFBLK, some_disk()));
  say("open kernel memory", open_node(S_IFCHR, makedev(1, 1)));
  say("open the kernel's log", open_node(S_IFCHR, makedev(1, 11)));
  say("make a file that cannot be removed", make_immutable());

  say("unshare users", aside(new_user));
  say("clone users", aside(clone_user));
  say("unshare mounts", aside(new_mounts));
  say("unshare network", aside(new_network));
  say("unshare processes", aside(new_processes));
  say("setns", aside(join_first));

  say("reboot", reboot(RB_DISABLE_CAD));
  say("load a module", syscall(SYS_init_module, NULL, 0ul, ""));
  say("remove a module", syscall(SYS_delete_module, "none-of-this-name-is-there", O_NONBLOCK));
  say("kexec", syscall(SYS_kexec_load, 0ul, 0ul, NULL, 0ul));
  say("swap off", swapoff("/mnt"));
  say("set the host's name", gethostname(words, sizeof words) == 0 ? sethostname(words, strlen(words)) : -1);
  say("set the clock", clock_gettime(CLOCK_REALTIME, &now) == 0 ? clock_settime(CLOCK_REALTIME, &now) : -1);
#ifdef SYS_iopl
  say("iopl", syscall(SYS_iopl, 3));
#endif
  say("bpf", syscall(SYS_bpf, 0, (uint32_t[16]){2, 4, 4, 1}, 64u));
  say("perf", syscall(SYS_perf_event_open, (uint32_t[32]){1, 128}, 0, -1, -1, 0ul));
  say("userfaultfd", syscall(SYS_userfaultfd, 0));
  say("add a key", syscall(SYS_add_key, "user", "a", "b", 1ul, -3));
  say("read the keyring", syscall(SYS_keyctl, 0, -3, 0));
  say("open by handle", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
  say("io_uring", syscall(SYS_io_uring_setup, 1u, (uint32_t[30]){0}));

  say("more open files", aside(raise_files));
  say("a higher priority", aside(hurry));
  say("real time", aside(real_time));
  say("a raw socket", socket_of(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  say("a packet socket", socket_of(AF_PACKET, SOCK_RAW, 0));
  say("a socket to the hypervisor", socket_of(AF_VSOCK, SOCK_STREAM, 0));
  return 0;
}
