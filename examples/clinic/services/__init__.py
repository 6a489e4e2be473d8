"""What the application does, without Flask: who may sign in, patients, appointments, documents."""
