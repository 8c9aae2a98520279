package store

// LockFile is for tests: a lock of files without that of the process.
var LockFile = lockFile
