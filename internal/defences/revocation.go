package defences

// revocations are the defences of revoked sessions, and a storage that fails.
var revocations = []Defence{
	{
		Threat: "logout that does not",
		Name:   "revoked users are counted, each once, so that none is overlooked",
		File:   "internal/revocation/ended.go",
		Old: `	if !ok {
		s.count.Add(1)
	}
	part.marks[key] = join(known, m)`,
		New: `	part.marks[key] = join(known, m)
	if !ok {
		go s.count.Add(1)
	}`,
		Test: "TestRevokedWhileOthersExpire",
	},
	{
		Threat: "logout that does not",
		Name:   "a list of ended sessions",
		File:   "visit.go",
		Old:    `case h.app.shared.revocations.Now.Has(s, v.msn):`,
		New:    `case false:`,
		Test:   "TestLogoutEndsCopies",
	},
	{
		Threat: "logout that does not",
		Name:   "every instance writes its part",
		File:   "internal/revocation/add.go",
		Old:    `	if err := at.append(ctx, entries); err != nil {`,
		New:    `	if err := at.append(ctx, nil); err != nil {`,
		Test:   "TestRevocationsInACluster",
	},
	{
		Threat: "logout that does not",
		Name:   "every instance reads the others' parts",
		File:   "background.go",
		Old:    `	return a.shared.revocations.Follow(ctx, at, revocation.RefreshEvery)`,
		New: `	pause(ctx, revocation.RefreshEvery)
	return a.shared.revocations.Loaded(ctx, at)`,
		Test: "TestRevocationsInACluster",
	},
	{
		Threat: "logout that does not",
		Name:   "what could not be written is tried again",
		File:   "background.go",
		Old:    `	return a.shared.revocations.Flush(ctx, at)`,
		New:    `	return nil`,
		Test:   "TestReloadWhileStorageIsAway",
	},
	{
		Threat: "logout that does not",
		Name:   "no session opens before the list was read",
		File:   "internal/revocation/list.go",
		Old: `	if err := r.catchUpOnce(ctx, at, true); !r.IsLoaded() {
		return err
	}`,
		New:  `	_ = r.catchUpOnce(ctx, at, true)`,
		Test: "TestRevocationsWhileStorageIsAway",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "what is always there is looked for",
		File:   "internal/store/prove.go",
		Old: `	if err := s.prove(ctx); err != nil {
		return nil, err
	}
`,
		New:  ``,
		Test: "TestAbsenceIsProven",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "after that, the name is looked for again",
		File:   "internal/store/prove.go",
		Old: `	stored, err = s.Load(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.ErrNotFound`,
		New: `	if errors.Is(err, fs.ErrNotExist) {
		return nil, state.ErrNotFound`,
		Test: "TestAbsenceIsProven",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "a list has what is always there",
		File:   "internal/store/prove.go",
		Old:    `case err == nil && slices.Contains(names, mark):`,
		New:    `case err == nil:`,
		Test:   "TestStorageThatLies",
	},
	{
		Threat: "a storage module that takes every failure for an absence",
		Name:   "a part that is listed is read",
		File:   "internal/store/prove.go",
		Old:    `if slices.Contains(names, file) {`,
		New:    `if false && slices.Contains(names, file) {`,
		Test:   "TestListedPartsThatAreGone",
	},
	{
		Threat: "a storage that has lost what was stored",
		Name:   "ended sessions are stored again",
		File:   "internal/revocation/list.go",
		Old:    `	entries, err := r.restore(ctx, at)`,
		New:    `	entries, err := 2, error(nil)`,
		Test:   "TestLostStorage",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "a lock of the process comes first",
		File:   "internal/store/lock.go",
		Old:    `	release, err := inProcess.lock(lockCtx, name)`,
		New:    `	release, err := func() {}, error(nil)`,
		Test:   "TestLockThatDoesNotExclude",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "nobody waits longer than they want to",
		File:   "internal/store/lock.go",
		Old:    `err = lockBounded(lockCtx, s.storage, name)`,
		New:    `err = lockStorage(lockCtx, s.storage, name)`,
		Test:   "TestLockThatHangs",
	},
	{
		Threat: "locks that do not exclude, or never come",
		Name:   "a storage whose locks are unfit is not used for what needs them",
		File:   "internal/store/examine.go",
		Old: `	if problem != "" {
		s.unfit`,
		New: `	if false {
		s.unfit`,
		Test: "TestExamine",
	},
}
