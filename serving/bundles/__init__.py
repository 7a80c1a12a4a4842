"""The artefact that is trained, registered and served: written, sealed, read and checked."""
