"""The steps of augmentation, one file a kind of thing; see ``augmentation.registry``."""
