/*
 * A container's files: those that the agent has for it, the image's layers, a file system in memory
 * over them, and the folders that stay writable where the root does not. All of it in a mount
 * namespace of the keeper's own, and in memory, where nothing fills the host's disk.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

void mount_memory(const char *bytes) {
  char options[64];
  if (unshare(CLONE_NEWNS) < 0) fail("no mount namespace");
  /* Slave, so that what the host unmounts is not held by us. */
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) fail("mounts stay shared");
  snprintf(options, sizeof options, "size=%s,mode=0755", bytes);
  if (mkdir("t", 0700) < 0 || mount("hyper", "t", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
    fail("no file system");
}

static void take_file(FILE *in, const char *name, size_t left) {
  char path[64], bytes[4096];
  snprintf(path, sizeof path, "t/%s", name);
  FILE *out = fopen(path, "wxe");
  if (out == NULL) fail(name);
  while (left > 0) {
    size_t got = fread(bytes, 1, left < sizeof bytes ? left : sizeof bytes, in);
    if (got == 0 || fwrite(bytes, 1, got, out) != got) fail(name);
    left -= got;
  }
  if (fclose(out) != 0 || chmod(path, 0644) < 0) fail(name);
}

void take_files(int from) {
  FILE *in = fdopen(dup(from), "re");
  if (in == NULL) fail("no files");
  for (;;) {
    char line[128], name[32];
    size_t size;
    if (fgets(line, sizeof line, in) == NULL) fail("files of the agent are missing");
    if (line[0] == '\n') break;
    if (sscanf(line, "%31[a-z.] %zu", name, &size) != 2) fail("no file's name");
    take_file(in, name, size);
  }
  fclose(in);
}

static int open_folder(const char *path) {
  return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int make_folder(const char *path) {
  int made = mkdir(path, 0755) < 0 ? -1 : open_folder(path);
  if (made < 0) fail(path);
  return made;
}

/*
 * By descriptors: the options are one page for all names, which many layers fill, and a comma in a
 * name would be the end of it.
 */
void mount_root(const char *folder, const char *layers, const char *lower) {
  char options[4096], target[32];
  int root = make_folder("t/rootfs"), upper = make_folder("t/upper"), work = make_folder("t/work");
  int length = snprintf(options, sizeof options,
                        "index=off,lowerdir=%s,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d",
                        lower, upper, work);
  if (length >= (int)sizeof options) {
    errno = E2BIG;
    fail("too many layers");
  }
  snprintf(target, sizeof target, "/proc/self/fd/%d", root);
  if (chdir(layers) < 0) fail("no layers");
  if (mount("overlay", target, "overlay", 0, options) < 0) fail("layers could not be mounted");
  if (chdir(folder) < 0) fail("no folder");
  close(root);
  close(upper);
  close(work);
}

/* A folder, and those that it is in, made where they are missing. */
static int make_folders(char *path) {
  int parent = open_folder("/");
  for (char *end = path; parent >= 0 && *end != '\0';) {
    end += 1 + strcspn(end + 1, "/");
    char after = *end;
    *end = '\0';
    int folder = open_folder(path);
    if (folder < 0 && errno == ENOENT && mkdirat(parent, strrchr(path, '/') + 1, 0755) == 0)
      folder = open_folder(path);
    *end = after;
    close(parent);
    parent = folder;
  }
  return parent;
}

/*
 * With the container's root as ours for as long, so that the image's links lead to nowhere outside of
 * it: nothing of the container's runs yet that could move a folder meanwhile.
 */
static int make_inside(int outside, int here, char *path) {
  if (chroot("t/rootfs") < 0) fail("no root");
  int folder = make_folders(path), why = errno;
  if (fchdir(outside) < 0 || chroot(".") < 0 || fchdir(here) < 0) fail("no way back from the root");
  errno = why;
  return folder;
}

void mount_volumes(char **volumes) {
  int outside = open_folder("/"), here = open_folder(".");
  for (int i = 0; volumes[i] != NULL; i++) {
    char name[16], source[32];
    snprintf(name, sizeof name, "t/v%d", i);
    int folder = make_inside(outside, here, volumes[i]);
    if (folder < 0 || mkdir(name, 0755) < 0) fail(volumes[i]);
    snprintf(source, sizeof source, "/proc/self/fd/%d", folder);
    if (mount(source, name, NULL, MS_BIND, NULL) < 0) fail(volumes[i]);
    close(folder);
  }
  close(outside);
  close(here);
}
