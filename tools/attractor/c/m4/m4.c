/* Solves the network of net.h on a Cortex-M4, without a C library, and ends the emulator: 0 if the outputs are those of case.h. */
#include "net.h"

#include "case.h" /* tested_input, tested_output */

extern uint32_t stack_end;
void start(void);

/* Where the processor begins: the end of the stack, the first function, and one for every fault. */
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_end, (void *)start, (void *)start, (void *)start, (void *)start, (void *)start, (void *)start,
};

/* A call of the host's, by which a debugger or an emulator is asked for something. */
static int32_t semihosting(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void print(const char *text) { semihosting(0x04, text); }
static void end(uint32_t code) {
    const uint32_t exit[2] = {0x20026 /* the program ended */, code};
    semihosting(0x20 /* with this code */, exit);
    for (;;) {
    }
}

/* In RAM that nobody has zeroed: the library does it. */
static float output[NET_OUTPUTS], memory[NET_MEMORY];

static void check(const char *what, int holds) {
    if (!holds) {
        print("wrong: ");
        print(what);
        print("\n");
        end(1);
    }
}

static __attribute__((noinline)) void tested(void) {
    attractor_report report = {0, 0.0f};
    int32_t outcome = attractor_solve(&net_net, tested_input, output, memory, NET_MEMORY, 1e-6f, 100, &report);
    check("it is refused", outcome != ATTRACTOR_REFUSED);
    check("a number is not finite", outcome != ATTRACTOR_NOT_FINITE);
    check("it is not solved", outcome == ATTRACTOR_SOLVED && report.sweeps > 1 && report.residual <= 1e-6f);
    for (uint32_t i = 0; i < NET_OUTPUTS; i++) {
        float error = output[i] - tested_output[i];
        check("an output", error < 1e-6f && error > -1e-6f);
    }
    outcome = attractor_solve(&net_net, tested_input, output, memory, NET_MEMORY - 1u, 1e-6f, 100, &report);
    check("too little memory is taken", outcome == ATTRACTOR_REFUSED);
}

void start(void) {
    /* A fault comes here too, and must not begin anew. */
    uint32_t exception;
    __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
    check("a fault", exception == 0);
    /* The floating-point unit is off after a reset: nothing above may have used it. */
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\n isb" ::: "memory");
    tested();
    print("the outputs are those that are expected\n");
    end(0);
}
