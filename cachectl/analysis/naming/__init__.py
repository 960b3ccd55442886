"""From names of keys to namespaces: templates, groups of them, and what folds into what."""
