// Package drawing draws lines and words on pictures that people look at: figures of an evaluation, and what the measures of a mask
// look at. Lines cover pixels in part, so that curves look smooth. Pure: same calls, same bytes. It imports nothing of Noctua.
package drawing
