/* A host clock that steps: real time plus what stands in a file, as "seconds speed since". Only the wall clock is moved;
 * the monotonic one goes on, as a kernel's does. libfaketime 0.9.10 fails time.sleep of Python 3.11 (clock_nanosleep, EINVAL).
 *
 * cc -shared -fPIC -O1 -o host_clock.so host_clock.c; CLOCK_STEPS=FILE LD_PRELOAD=./host_clock.so PROGRAM
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct steps { double ahead_s, speed, since_s; };
static const volatile struct steps *steps;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_STEPS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof *steps, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) steps = found;
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, which, now);
    if (failed || !steps || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return failed;
    double real = now->tv_sec + now->tv_nsec / 1e9;
    double moved = steps->ahead_s + (steps->speed - 1) * (real - steps->since_s);
    long long ns = now->tv_sec * 1000000000LL + now->tv_nsec + (long long)(moved * 1e9);
    now->tv_sec = ns / 1000000000LL;
    now->tv_nsec = ns % 1000000000LL;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec at;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}
