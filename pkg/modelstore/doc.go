// Package modelstore keeps the models that were installed in a folder: <dir>/<name>/<version>/ holds what a model folder holds,
// and <dir>/default names the model that is used where nobody asks for another.
//
// What it guarantees: a model is there whole or not at all, whatever interrupts its installation; it is checked as it lies
// there, not as it lay where it came from; a model that is there is never changed, so that a name and a version mean one
// thing. Processes that share a folder take turns by a lock. Of Noctua it imports fault and unet.
package modelstore
