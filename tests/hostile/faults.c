/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One fault, chosen when this is compiled: -DFAULT_<NAME>. `walkforge plugin check` must name each of them.
 */

#define _GNU_SOURCE
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined FAULT_NONE

#elif defined FAULT_ABORT
#define ON_WEIGHTS abort();

#elif defined FAULT_EXIT
#define ON_WEIGHTS exit(0);

#elif defined FAULT_QUICK_EXIT
#define ON_WEIGHTS _exit(3);

#elif defined FAULT_LOOP
#define ON_WEIGHTS for (volatile int go = 1; go;) continue;

#elif defined FAULT_WRITES_AFTER
#define ON_WEIGHTS out[capacity] = 0.0;

#elif defined FAULT_WRITES_BEFORE
#define ON_WEIGHTS out[-1] = 0.0;

#elif defined FAULT_WRITES_INPUT
#define ON_WEIGHTS ((double *)past->returns)[0] = 0.0;

#elif defined FAULT_KEEPS_POINTERS
static const double *kept;
#define ON_WEIGHTS                                          \
    if (kept != NULL && kept[0] > 1e300) out[0] = 0.0;      \
    kept = past->returns;

#elif defined FAULT_TINY_TABLE
#define ON_INIT out->struct_size = sizeof(size_t);

#elif defined FAULT_HUGE_TABLE
#define ON_INIT out->struct_size = SIZE_MAX;

#elif defined FAULT_NO_DESCRIBE
#define ON_INIT out->describe = NULL;

#elif defined FAULT_EMPTY_DESCRIPTION
#define ON_DESCRIBE *out = text("");

#elif defined FAULT_HUGE_DESCRIPTION
static char much[50 * 1024 * 1024];
#define ON_DESCRIBE                \
    memset(much, ' ', sizeof much); \
    out->data = much;               \
    out->length = sizeof much;

#elif defined FAULT_ENDLESS_DESCRIPTION
#define ON_DESCRIBE out->length = SIZE_MAX;

#elif defined FAULT_STDOUT
#define ON_WEIGHTS printf("weights of %zu assets\n", past->assets);

#elif defined FAULT_SIGNAL_HANDLER
static void handler(int number) { _exit(number); }
#define ON_INIT signal(SIGSEGV, handler);

#elif defined FAULT_BLOCKED_SIGNALS
#define ON_WEIGHTS                            \
    sigset_t all;                             \
    sigfillset(&all);                         \
    pthread_sigmask(SIG_BLOCK, &all, NULL);

#elif defined FAULT_FAST_MATH
/* Nothing but -ffast-math on the command line. */

#elif defined FAULT_FLUSH_TO_ZERO
#include <xmmintrin.h>
#define ON_WEIGHTS _mm_setcsr(_mm_getcsr() | 0x8040);

#elif defined FAULT_ROUNDS_UP
#include <fenv.h>
#define ON_WEIGHTS fesetround(FE_UPWARD);

#elif defined FAULT_LEAK
static void *volatile last;
#define ON_WEIGHTS last = malloc(100);

#elif defined FAULT_THREAD
static void *late(void *unused) {
    (void)unused;
    usleep(400000);
    *(volatile int *)8 = 0;
    return NULL;
}
#define ON_INIT         \
    pthread_t thread;   \
    pthread_create(&thread, NULL, late, NULL);

#elif defined FAULT_DIVIDES
static volatile int zero;
#define ON_WEIGHTS out[0] = 7 / zero;

#elif defined FAULT_RECURSES
static volatile int deeper = 1;
static int down(volatile int *above) {
    volatile int here = *above + 1;
    return deeper ? down(&here) + here : 0;
}
#define ON_WEIGHTS          \
    volatile int start = 0; \
    out[0] += down(&start);

#elif defined FAULT_FOLDER
#define ON_WEIGHTS if (chdir("/") != 0) return 6;

#elif defined FAULT_ENVIRONMENT
#define ON_WEIGHTS setenv("HOSTILE", "1", 1);

#elif defined FAULT_LOCALE
#define ON_INIT setlocale(LC_ALL, "C.UTF-8");

#elif defined FAULT_UMASK
#define ON_INIT umask(0);

#elif defined FAULT_FORK
static int forked;
#define ON_WEIGHTS                        \
    if (!forked++ && fork() == 0) {       \
        sleep(600);                       \
        _exit(0);                         \
    }

#elif defined FAULT_UNDEFINED
extern double nowhere_to_be_found(double value);
#define ON_WEIGHTS out[0] = nowhere_to_be_found(out[0]);

#elif defined FAULT_DIES_ON_LOAD
__attribute__((constructor)) static void on_load(void) { abort(); }

#elif defined FAULT_DIES_AT_EXIT
__attribute__((destructor)) static void at_exit(void) { abort(); }

#elif defined FAULT_COUNTS_CALLS
static volatile double calls;
#define ON_WEIGHTS      \
    calls += 1e-9;      \
    out[0] += calls;    \
    out[past->assets - 1] -= calls;

#elif defined FAULT_SILENT
#define ON_WEIGHTS return WF_E_PLUGIN;

#elif defined FAULT_NO_ENTRY
#define ENTRY wf_hostile_entry

#elif defined FAULT_FREES_TWICE
#define ON_DESTROY free(model);

#elif defined FAULT_NET_NONE
#define NETWORK

#elif defined FAULT_NET_ABORTS
#define NETWORK
#define ON_BUILD abort();

#elif defined FAULT_NET_CHANGES
#define NETWORK
static size_t built;
#define ON_BUILD hidden += built++ % 2;

#elif defined FAULT_NET_BY_ASSETS
#define NETWORK
#define ON_BUILD hidden = shape->assets;

#elif defined FAULT_NET_KINK
#define NETWORK
/* A gate that begins where relu has no slope. */
#define ON_BUILD                                                                   \
    wf_value gate = net->parameter(program, text("gate"), NULL, 0, 0.0f, 0.0f);    \
    wf_value gated[2] = {x, net->op(program, text("relu"), &gate, 1, text(""))};   \
    x = net->op(program, text("multiply"), gated, 2, text(""));

#elif defined FAULT_NET_NO_OUTPUT
#define NETWORK
#define ON_BUILD return WF_OK;

#elif defined FAULT_NET_WRITES_AFTER
#define NETWORK
#define ON_COMPUTE out[capacity] = 0.0f;

#elif defined FAULT_NET_WRITES_BEFORE
#define NETWORK
#define ON_COMPUTE out[-1] = 0.0f;

#elif defined FAULT_NET_WRITES_INPUT
#define NETWORK
#define ON_COMPUTE ((double *)past->returns)[0] = 0.0;

#elif defined FAULT_NET_KEEPS_POINTERS
#define NETWORK
static float *kept;
#define ON_COMPUTE                        \
    if (kept != NULL) kept[0] = 0.0f;     \
    kept = out;

#elif defined FAULT_NET_COUNTS_CALLS
#define NETWORK
static volatile float calls;
#define ON_COMPUTE calls += 1e-3f, out[0] += calls;

#elif defined FAULT_NET_IGNORES_CAPACITY
#define NETWORK

#elif defined FAULT_NET_DIVIDES
#define NETWORK
static volatile int zero;
#define ON_COMPUTE out[0] = (float)(7 / zero);

#elif defined FAULT_NET_LEAK
#define NETWORK
static void *volatile last;
#define ON_COMPUTE last = malloc(100);

#else
#error "no fault is chosen"
#endif

#include "plugin.h"
