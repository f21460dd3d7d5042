/* Loaded before libc: fdatasync and fsync as the test wants them.
 *
 * SHIM_MODE=noop    returns at once, the disk never hears of it
 * SHIM_MODE=delay   no sync, but a known time: call k takes SHIM_US * (1 + 3 u^6) microseconds, where
 *                   u runs over [0,1) evenly (multiples of the golden ratio); each true time is
 *                   appended to SHIM_TRUTH as 8 bytes, nanoseconds
 * SHIM_MODE=extra   the real sync and SHIM_US microseconds more
 * SHIM_MODE=switch  the real sync, and while the file SHIM_SWITCH exists SHIM_US microseconds more
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int truth = -1;
static unsigned long calls;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void until(int64_t end) {
    struct timespec t = {end / 1000000000LL, end % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
    }
}

static int sync_as_told(const char *name, int fd) {
    int64_t began = now();
    const char *mode = getenv("SHIM_MODE");
    const char *us = getenv("SHIM_US");
    const char *file = getenv("SHIM_SWITCH");
    double wanted = us ? atof(us) * 1000.0 : 0.0;
    int code = 0;
    if (mode && strcmp(mode, "noop") == 0) return 0;
    if (mode && strcmp(mode, "delay") == 0) {
        double u = fmod(++calls * 0.6180339887498949, 1.0);
        until(began + (int64_t)(wanted * (1 + 3 * u * u * u * u * u * u)));
        if (truth < 0) truth = open(getenv("SHIM_TRUTH"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        int64_t took = now() - began;
        if (write(truth, &took, sizeof took) != sizeof took) abort();
        return 0;
    }
    code = ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
    if (mode && (strcmp(mode, "extra") == 0 || (file && access(file, F_OK) == 0)))
        until(now() + (int64_t)wanted);
    return code;
}

int fdatasync(int fd) { return sync_as_told("fdatasync", fd); }
int fsync(int fd) { return sync_as_told("fsync", fd); }
