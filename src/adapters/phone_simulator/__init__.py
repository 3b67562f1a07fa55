"""The parts of the phone simulator: see `adapters.twilio_simulator`."""
