// Package config reads what a Kitestream process is told by its environment: one Config, filled from variables that
// begin with KITESTREAM_, and the one list of those variables (the struct's tags) that every verb's --help is made of.
//
// In: the environment. Out: a Config and every problem with it at once, so that nobody has to start a process five
// times to learn of five mistakes. It opens no connection and starts nothing.
package config
