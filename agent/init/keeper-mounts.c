/*
 * The root of a container: the image's layers, a file system in memory over them, and the folders of
 * it that stay writable where the root does not. All of it in a mount namespace of the keeper's own.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OWN_FILE_BYTES_MAX 65536

/* The container may write to it: on the host's disk that would be as much as it likes. */
static void copy_into_memory(const char *name) {
  char copy[32];
  snprintf(copy, sizeof copy, "t/%s", name);
  int from = open(name, O_RDONLY | O_CLOEXEC);
  int to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (from < 0 || to < 0 || sendfile(to, from, NULL, OWN_FILE_BYTES_MAX) < 0) fail(name);
  close(from);
  close(to);
}

void mount_root(const char *folder, const char *layers, const char *lower,
                       const char *root_bytes) {
  char options[4096];
  if (unshare(CLONE_NEWNS) < 0) fail("no mount namespace");
  /* Slave, so that what the host unmounts is not held by us. */
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) fail("mounts stay shared");
  if (mkdir("t", 0700) < 0 || mkdir("rootfs", 0755) < 0) fail("no folders for the root");
  snprintf(options, sizeof options, "size=%s,mode=0755", root_bytes);
  if (mount("hyper", "t", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0) fail("no file system");
  if (mkdir("t/upper", 0755) < 0 || mkdir("t/work", 0755) < 0) fail("no layer to write to");
  int length = snprintf(options, sizeof options,
                        "index=off,lowerdir=%s,upperdir=%s/t/upper,workdir=%s/t/work", lower,
                        folder, folder);
  if (length >= (int)sizeof options) {
    errno = E2BIG;
    fail("too many layers");
  }
  char root[4096];
  snprintf(root, sizeof root, "%s/rootfs", folder);
  if (chdir(layers) < 0) fail("no layers");
  if (mount("overlay", root, "overlay", 0, options) < 0) fail("layers could not be mounted");
  if (chdir(folder) < 0) fail("no folder");
  copy_into_memory("hostname");
  copy_into_memory("hosts");
  copy_into_memory("resolv.conf");
}

/* A folder of the container's root. The image's links lead to nowhere outside of it. */
static int open_inside(int root, const char *path) {
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* The same, made where it is missing. */
static int make_inside(int root, char *path) {
  int parent = open_inside(root, "/");
  for (char *end = path; parent >= 0 && *end != '\0';) {
    end += 1 + strcspn(end + 1, "/");
    char after = *end;
    *end = '\0';
    int folder = open_inside(root, path);
    if (folder < 0 && errno == ENOENT && mkdirat(parent, strrchr(path, '/') + 1, 0755) == 0)
      folder = open_inside(root, path);
    *end = after;
    close(parent);
    parent = folder;
  }
  return parent;
}

void mount_volumes(char **volumes) {
  int root = open("rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("no root");
  for (int i = 0; volumes[i] != NULL; i++) {
    char name[16], source[32];
    snprintf(name, sizeof name, "v%d", i);
    int folder = make_inside(root, volumes[i]);
    if (folder < 0 || mkdir(name, 0755) < 0) fail(volumes[i]);
    snprintf(source, sizeof source, "/proc/self/fd/%d", folder);
    if (mount(source, name, NULL, MS_BIND, NULL) < 0) fail(volumes[i]);
    close(folder);
  }
  close(root);
}
