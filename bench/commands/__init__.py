"""The sub-commands of `bench`: what each prints and its exit status."""
