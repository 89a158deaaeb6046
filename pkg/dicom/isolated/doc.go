// Package isolated reads and decodes DICOM files in child processes, so that no file can take the service down.
//
// A child is the same program, started again: Serve, at the beginning of main, turns it into one. Before it sees a file it
// gives up what reading a file does not need: it gets no environment, may take only so much address space, open no file or
// socket, start no program and write nowhere but to its answer (a seccomp filter, where the kernel has one). A file comes as an open descriptor, pixels
// go back in memory that the parent made and copies them from. Time is bounded by the parent, on the clock and on the CPU. A child that dies is the outcome of its file,
// a fault with code parser-limit.
package isolated
