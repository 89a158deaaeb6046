package web

// SignInView is the sign-in page.
type SignInView struct {
	Shell
	Problem string
	// Accounts tells whether people have names and passwords here; without, they sign in with tokens alone.
	Accounts bool
	ByToken  bool   // a token was tried
	Name     string // that was tried
	Next     string // address to go on to
}
