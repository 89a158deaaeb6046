package isolated

import (
	"fmt"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
)

// allowed are the system calls of the Go runtime, of the C library's memory and threads, and of reading and answering with
// descriptors that are open already. Whatever else (opening, connecting, executing, signalling others, …) fails with EPERM.
var allowed = []string{
	"read", "pread64", "readv", "write", "writev", "recvmsg", "sendmsg", "lseek", "fstat", "fcntl", "close",
	"mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
	"clone", "clone3", "set_robust_list", "rseq", "set_tid_address", "arch_prctl", "prctl", "futex", "gettid", "getpid", "tgkill", "exit", "exit_group",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2",
	"nanosleep", "clock_nanosleep", "clock_gettime", "gettimeofday", "sched_yield", "sched_getaffinity",
	"timer_create", "timer_settime", "timer_delete", "setitimer", "getrandom", "getrusage", "uname", "sysinfo",
}

// lockUp takes away every system call but the allowed ones, from all threads and for good.
func lockUp() error {
	if !seccomp.Supported() {
		return fmt.Errorf("this kernel has no seccomp: DICOM children keep the right to open files and connections")
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("seccomp does not know this processor: %w", err)
	}
	var names []string // not every processor has every call
	for _, name := range allowed {
		if _, known := info.SyscallNames[name]; known {
			names = append(names, name)
		}
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls:      []seccomp.SyscallGroup{{Names: names, Action: seccomp.ActionAllow}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("seccomp refuses the filter: %w", err)
	}
	return nil
}
